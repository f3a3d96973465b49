# TorchScale's decoders in numpy f64, after the description in oracle2/README.md section 3.
import numpy as np, json, struct, math, os, sys
DT={'F32':np.float32,'I32':np.int32,'BF16':None}
def load(path):
    b=open(path,'rb').read(); n=struct.unpack('<Q',b[:8])[0]; h=json.loads(b[8:8+n]); out={}
    for k,v in h.items():
        if k=='__metadata__': continue
        a,e=v['data_offsets']; raw=b[8+n+a:8+n+e]
        if v['dtype']=='BF16': x=(np.frombuffer(raw,np.uint16).astype(np.uint32)<<16).view(np.float32)
        else: x=np.frombuffer(raw,DT[v['dtype']])
        out[k]=x.reshape(v['shape'])
    return out
def save(path,t):
    h={};off=0;data=b''
    for k in sorted(t):
        x=np.ascontiguousarray(t[k]); h[k]={'dtype':{'float32':'F32','int32':'I32'}[x.dtype.name],'shape':list(x.shape),'data_offsets':[off,off+x.nbytes]}; off+=x.nbytes; data+=x.tobytes()
    j=json.dumps(h,separators=(',',':')).encode(); j+=b' '*(-len(j)%8)
    open(path,'wb').write(struct.pack('<Q',len(j))+j+data)
erf=np.vectorize(math.erf)
def softmax(s): e=np.exp(s-s.max(-1,keepdims=True)); return e/e.sum(-1,keepdims=True)
class TS:
    def __init__(s,c,sd): s.c=c; s.sd={k:v.astype(np.float64) for k,v in sd.items()}; s.ret=c['model_type']=='torchscale_retnet'; s.gap=1.0; \
        s.act={'gelu':lambda x:0.5*x*(1+erf(x/math.sqrt(2))),'relu':lambda x:np.maximum(x,0),'swish':lambda x:x/(1+np.exp(-x))}[c['activation_fn']]
    def lin(s,x,n): y=x@s.sd[n+'.weight'].T; return y+s.sd[n+'.bias'] if n+'.bias' in s.sd else y
    def ln(s,x,n):
        e=s.c['layernorm_eps']
        if s.ret: return x/np.sqrt((x**2).mean(-1,keepdims=True)+e)*s.sd[n+'.weight']
        m=x.mean(-1,keepdims=True); v=((x-m)**2).mean(-1,keepdims=True); return (x-m)/np.sqrt(v+e)*s.sd[n+'.weight']+s.sd[n+'.bias']
    @staticmethod
    def rot(x,ang):
        a,b=x[...,0::2],x[...,1::2]; c,si=np.cos(ang),np.sin(ang); o=np.empty_like(x); o[...,0::2]=a*c-b*si; o[...,1::2]=b*c+a*si; return o
    def ffn(s,x,p):
        h=s.act(s.lin(x,p+'fc1'))
        if p+'gate.weight' in s.sd: h=h*s.lin(x,p+'gate')
        if p+'ffn_layernorm.weight' in s.sd: h=s.ln(h,p+'ffn_layernorm')
        return s.lin(h,p+'fc2')
    def moe(s,x,p):
        c=s.c; g=p+'gate.'
        if c['use_xmoe']: w=s.sd[g+'wg']; lo=s.lin(x,g+'wg_reduction')@(w/np.linalg.norm(w,axis=1,keepdims=True)).T
        else: lo=s.lin(x,g+'wg')
        pr=softmax(lo); y=np.zeros_like(x)
        for t in range(len(x)):
            k=1 if c['moe_top1_expert'] else 2; e=np.argsort(-pr[t],kind='stable'); s.gap=min(s.gap,pr[t,e[k-1]]-pr[t,e[k]])
            w=pr[t,e[:k]]; w=w if k==1 else w/w.sum()
            for j in range(k): y[t]+=w[j]*s.ffn(x[t:t+1],f'{p}experts.{e[j]}.')[0]
        return y
    def attn(s,x,p):
        c=s.c; T,D=x.shape; H=c['decoder_attention_heads']; d=D//H; sp=lambda z:z.reshape(T,H,d).transpose(1,0,2)
        q,k,v=sp(s.lin(x,p+'q_proj'))*d**-.5,sp(s.lin(x,p+'k_proj')),sp(s.lin(x,p+'v_proj')); n=np.arange(T)[:,None]-np.arange(T)[None]
        if c['xpos_rel_pos']:
            inv=(1.0/10000**(np.arange(0,d//2)/(d//2))).astype(np.float32).astype(np.float64)
            ang=(np.arange(T)[:,None].astype(np.float32)*inv[None].astype(np.float32)).astype(np.float64)
            q,k=s.rot(q,ang),s.rot(k,ang); z=(2*np.arange(d//2)+0.4*d)/(1.4*d)
            sc=np.zeros((H,T,T))
            for j in range(d//2):   # the factor depends on the distance alone, and is at most 1
                sc+=(q[:,:,2*j:2*j+2]@k[:,:,2*j:2*j+2].transpose(0,2,1))*(z[j]**(np.maximum(n,0)/c['xpos_scale_base']))[None]
        else: sc=q@k.transpose(0,2,1)
        if c['rel_pos_buckets']>0 and c['max_rel_pos']>0:
            B=c['rel_pos_buckets']//2; ex=B//2; m=np.maximum(n,1).astype(np.float32)
            big=np.minimum(ex+(np.log(m/np.float32(ex))/np.float32(math.log(c['max_rel_pos']/ex))*np.float32(B-ex)).astype(np.int64),B-1)
            sc=sc+s.sd['self_attn_relative_position.relative_attention_bias.weight'][np.where(n<ex,np.maximum(n,0),big)].transpose(2,0,1)
        sc=np.where(n[None]<0,-np.inf,sc); o=(softmax(sc)@v).transpose(1,0,2).reshape(T,D)
        if p+'inner_attn_ln.weight' in s.sd: o=s.ln(o,p+'inner_attn_ln')
        return s.lin(o,p+'out_proj')
    def retention(s,x,p):
        c=s.c; T,D=x.shape; H=c['decoder_retention_heads']; d=D//H; V=c['decoder_value_embed_dim']//H
        inv=(1.0/10000**np.linspace(0,1,d//2)).astype(np.float32); ang=(np.arange(T)[:,None].astype(np.float32)*inv[None]).astype(np.float64); sp=lambda z,w:z.reshape(T,H,w).transpose(1,0,2)
        q,k,v=s.rot(sp(s.lin(x,p+'q_proj'),d),ang),s.rot(sp(s.lin(x,p+'k_proj')*d**-.5,d),ang),sp(s.lin(x,p+'v_proj'),V)
        g=1-2.0**(-5-np.arange(H)); S=np.zeros((H,d,V)); out=np.empty((T,H,V)); n=np.zeros(H)
        for t in range(T):
            S=S*g[:,None,None]+k[:,t,:,None]*v[:,t,None,:]; n=n*g+1; o=np.einsum('hd,hdv->hv',q[:,t],S)/np.sqrt(n)[:,None]
            out[t]=o/np.sqrt((o**2).mean(-1,keepdims=True)+c['layernorm_eps'])
        ga=s.lin(x,p+'g_proj'); return s.lin(ga/(1+np.exp(-ga))*out.reshape(T,-1),p+'out_proj')
    def forward(s,toks):
        c=s.c; L=c['decoder_layers']; alpha=(2*L)**.25 if c['deepnorm'] else 1.0; pre=not c['deepnorm']; T=len(toks)
        x=s.sd['embed_tokens.weight'][toks]*(1.0 if c['no_scale_embedding'] else math.sqrt(c['decoder_embed_dim']))
        if c.get('learned_positions'): x=x+s.sd['embed_positions.weight'][2:2+T]
        if c['layernorm_embedding']: x=s.ln(x,'layernorm_embedding')
        for i in range(L):
            p=f'layers.{i}.'; n1=p+('retention_layer_norm' if s.ret else 'self_attn_layer_norm')
            mix=(lambda h:s.retention(h,p+'retention.')) if s.ret else (lambda h:s.attn(h,p+'self_attn.'))
            ff=(lambda h:s.moe(h,p+'moe_layer.')) if p+'moe_layer.experts.0.fc1.weight' in s.sd else (lambda h:s.ffn(h,p+'ffn.'))
            for f,n in ((mix,n1),(ff,p+'final_layer_norm')): x=x+f(s.ln(x,n)) if pre else s.ln(alpha*x+f(x),n)
        if pre: x=s.ln(x,'layer_norm')
        return x@s.sd.get('output_projection.weight',s.sd['embed_tokens.weight']).T
OUT=os.path.dirname(os.path.abspath(__file__))+'/'
BASE=dict(model_type='torchscale_decoder',architectures=['Decoder'],vocab_size=64,decoder_embed_dim=32,decoder_ffn_embed_dim=48,decoder_attention_heads=2,decoder_layers=2,decoder_normalize_before=True,deepnorm=False,subln=False,layernorm_embedding=False,layernorm_eps=1e-5,learned_positions=False,max_target_positions=320,rel_pos_buckets=0,max_rel_pos=0,xpos_rel_pos=False,xpos_scale_base=512,activation_fn='gelu',moe_freq=0,moe_expert_count=0,moe_top1_expert=False,use_xmoe=False,moe_eval_capacity_token_fraction=1.0,moe_gating_use_fp32=True,moe_normalize_gate_prob_before_dropping=False,moe_second_expert_policy='all',no_scale_embedding=True,share_decoder_input_output_embed=False,torch_dtype='float32')
def model(c,r):
    D,F,L,H=c['decoder_embed_dim'],c['decoder_ffn_embed_dim'],c['decoder_layers'],c['decoder_attention_heads']; t={}
    N=lambda n,*s,std=1.0: t.__setitem__(n,(r.standard_normal(s)*std).astype(np.float32))
    def lin(n,o,i,bias=True):
        N(n+'.weight',o,i,std=1.3*i**-.5)
        if bias: N(n+'.bias',o,std=.1)
    def norm(n,w): t[n+'.weight']=(1+.2*r.standard_normal(w)).astype(np.float32); N(n+'.bias',w,std=.1)
    N('embed_tokens.weight',c['vocab_size'],D,std=.5 if c['no_scale_embedding'] else .5*D**-.5)
    if c['learned_positions']: N('embed_positions.weight',c['max_target_positions']+2,D,std=.3)
    if c['layernorm_embedding']: norm('layernorm_embedding',D)
    if c['rel_pos_buckets']: N('self_attn_relative_position.relative_attention_bias.weight',c['rel_pos_buckets'],H,std=2.0)
    def ffn(p): lin(p+'fc1',F,D); lin(p+'fc2',D,F); c['subln'] and norm(p+'ffn_layernorm',F)
    for i in range(L):
        p=f'layers.{i}.'
        for x in 'qkv': lin(p+f'self_attn.{x}_proj',D,D)
        lin(p+'self_attn.out_proj',D,D); norm(p+'self_attn_layer_norm',D); norm(p+'final_layer_norm',D)
        if c['subln']: norm(p+'self_attn.inner_attn_ln',D)
        if c['moe_freq'] and (i+1)%c['moe_freq']==0:
            lin(p+'moe_layer.gate.wg',c['moe_expert_count'],D,False)
            for e in range(c['moe_expert_count']): ffn(p+f'moe_layer.experts.{e}.')
        else: ffn(p+'ffn.')
    if not c['deepnorm']: norm('layer_norm',D)
    if not c['share_decoder_input_output_embed']: N('output_projection.weight',c['vocab_size'],D,std=1.5*D**-.5)
    return t
def put(name,seed,T,last,**over):
    c={**BASE,**over}; r=np.random.default_rng(seed); t=model(c,r); ids=r.integers(0,c['vocab_size'],T); m=TS(c,t); lo=m.forward(ids)
    d=OUT+name; os.makedirs(d,exist_ok=True); json.dump(c,open(d+'/config.json','w'),indent=1,sort_keys=True); save(d+'/model.safetensors',t)
    save(d+'/reference.safetensors',{'tokens':ids.astype(np.int32),'logits':lo[-last:].astype(np.float32)}); print(name,abs(lo).max(),'gap',m.gap)
def long(name,seed,T):
    R=OUT+'../oracle2/'; c=json.load(open(R+name+'/config.json')); r=np.random.default_rng(seed); ids=r.integers(0,c['vocab_size'],T); lo=TS(c,load(R+name+'/model.safetensors')).forward(ids)
    os.makedirs(OUT,exist_ok=True); save(OUT+name+'_long.safetensors',{'tokens':ids.astype(np.int32),'logits':lo[-4:].astype(np.float32)}); print(name,abs(lo).max())
put('relative_bias',1,300,40,rel_pos_buckets=16,max_rel_pos=40,activation_fn='relu')
put('embedding_norm',2,24,24,layernorm_embedding=True,learned_positions=True,activation_fn='swish',no_scale_embedding=False,share_decoder_input_output_embed=True,max_target_positions=32)
put('plain_gate',3,24,24,moe_freq=1,moe_expert_count=5,subln=True,learned_positions=True,max_target_positions=32)
long('retnet',4,200); long('torchscale_xpos',5,1500)
